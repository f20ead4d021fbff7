"What domostats uses of the tables of Airflow."
