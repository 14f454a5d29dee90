"""Where a scan's time goes, part by part."""
