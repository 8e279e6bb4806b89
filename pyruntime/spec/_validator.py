def is_valid(config):
    return True
def is_valid_process(p):
    return True
