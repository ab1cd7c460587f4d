"""The first generation of procedural environments: kept so that its builds can be repeated byte for byte."""
