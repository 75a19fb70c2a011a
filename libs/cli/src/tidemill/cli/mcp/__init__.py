"""`tidemill mcp`: the server of the Model Context Protocol. Its tools call the HTTP API with the caller's token."""
