def start(a, b):
    return None
