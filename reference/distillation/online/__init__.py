"""Online distillation: networks that are trained together teach each other."""
