"""What the notebooks import. Four storeys, imports only go down: charts, measure, pools, services."""
