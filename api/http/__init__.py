"""What HTTP itself asks for: problems, responses, connections, hosts; nothing of scans or jobs."""
