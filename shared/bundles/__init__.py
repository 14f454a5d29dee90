"""Model bundles on disk: what a folder says of itself, validated; nothing of it is run here."""
