"use strict";
const specs = JSON.parse(document.getElementById("specs").textContent);
const sections = [...document.querySelectorAll("main > section[data-data]")];
const filters = [...document.querySelectorAll("select[data-filter]")];

// the interpreter of expressions, as the page's policy forbids to make functions out of text
for (const place of document.querySelectorAll(".chart")) {
  vegaEmbed(place, specs[+place.dataset.chart], { actions: false, renderer: "svg", ast: true })
    .then(() => { place.dataset.drawn = "yes"; })
    .catch((error) => { place.textContent = String(error); });
}

function apply() {
  const wanted = Object.fromEntries(filters.map((select) => [select.dataset.filter, select.value]));
  let shown = 0;
  for (const section of sections) {
    section.hidden = ["data", "split", "protocol"].some((key) => wanted[key] && section.dataset[key] !== wanted[key]);
    shown += !section.hidden;
    for (const figure of section.querySelectorAll(".figure")) figure.hidden = Boolean(wanted.metric) && figure.dataset.metric !== wanted.metric;
  }
  const output = document.querySelector(".filters output");
  output.textContent = filters.some((select) => select.value) ? `${shown} of ${sections.length} sections` : "";
  window.dispatchEvent(new Event("resize"));  // charts that were hidden have no width
}
for (const select of filters) select.addEventListener("change", apply);

for (const button of document.querySelectorAll("button[data-sort]")) {
  button.addEventListener("click", () => {
    const column = +button.dataset.sort, head = button.closest("th"), body = button.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") !== "descending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value === "" ? -Infinity : +row.cells[column].dataset.value;
    body.append(...[...body.rows].sort((a, b) => (down ? value(b) - value(a) : value(a) - value(b))));
  });
}

const folded = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) { details.open = true; folded.push(details); }
});
addEventListener("afterprint", () => { for (const details of folded.splice(0)) details.open = false; });
