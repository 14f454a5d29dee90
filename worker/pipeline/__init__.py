"""One batch from scans to masks: load, preprocess, predict, postprocess, store; and its errors."""
