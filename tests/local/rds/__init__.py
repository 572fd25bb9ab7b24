"""The local cloud's Amazon RDS: records, life cycle and real databases over moto's HTTP."""
