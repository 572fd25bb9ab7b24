"""AWS DMS of the local cloud: a control plane in the place of moto's, and tasks that really replicate."""
