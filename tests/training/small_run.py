"""A small real run: scikit-learn's digits, a tiny vision transformer, two epochs and a cool-down of 11 updates each."""

SMALL = [
    "exp=vit_small",
    "data=digits",
    "batch_size=16384",
    "schedule.epochs=2",
    "schedule.warmup_epochs=1",
    "launch.threads=1",
]
UPDATES = 33
