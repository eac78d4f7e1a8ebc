"""Looking at runs in a browser: reads the store, keeps named selections and labels, starts nothing."""
