"""Other people's results as rows of ours, marked as imported: never records, never part of a verdict on a reproduction.

imported            what one imported run is, and its files in `results/imported`
tables_of_numbers   timm's `summary.csv` with `args.yaml`; CSV and JSON with a mapping of columns
event_files         TensorBoard's event files
wandb_runs          W&B's runs: offline folders, and online through its API
"""
