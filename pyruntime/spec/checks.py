def check(config):
    return []
def check_process(process, pointer):
    return None
