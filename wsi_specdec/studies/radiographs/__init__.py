"""COVID-19 in chest radiographs."""
