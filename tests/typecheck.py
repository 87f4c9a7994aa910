"""beartype, with an int where a float is annotated, as Python itself allows."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
