from vicinal.lazy import by_class_name

__getattr__ = by_class_name(__name__)
