"What domostats uses of how Airflow reads a dags folder."
