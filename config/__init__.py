"""Settings and the chart of accounts: read by the application and the migrations, by nobody else."""
