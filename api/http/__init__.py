"""HTTP itself: problems, responses, OpenAPI, connections, hosts. Routes are elsewhere."""
