"""Pictures as SVG, drawn with matplotlib: equal values give equal bytes, and labels are never markup."""
