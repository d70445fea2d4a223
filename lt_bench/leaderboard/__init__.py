"""From run records to tables, intervals, rank groups, plots and pages; free of torch."""
