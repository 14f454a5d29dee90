"""The only access to scans, masks and pictures, and what belongs to a store; no queue logic."""
