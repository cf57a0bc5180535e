"""The task protocol, the one loop, step, checkpoint, parallel, precision."""
