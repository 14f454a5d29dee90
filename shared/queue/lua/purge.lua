-- Delete a terminal job. ARGV: id. Returns 'missing', 'live' or 'purged'.
return forget(ARGV[1])
