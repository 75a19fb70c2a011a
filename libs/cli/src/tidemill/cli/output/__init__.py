"""What commands print and save: escaped terminal output, tables, JSON, and the paths of output files."""
