"""What the API and the workers share: queue, storage, volumes, bundles, settings, errors."""
