"""The HTTP calls, one module a resource. What a call uses is in the packages beside this one."""
