"Of Airflow no more than domostats uses; it is not installed where types are checked."
