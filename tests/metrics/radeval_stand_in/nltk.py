def download(*names, **options):
    raise RuntimeError("the network was asked for")
