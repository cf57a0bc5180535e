"""A run, from what is asked for to what is reported. Each room imports only rooms that stand above it in this table.

============== =========================================================================================
room           what it is for
============== =========================================================================================
`schema`       what a configuration may say: dataclasses, composition, every check, the digest (no torch)
`record`       run directory, append-only events, provenance, seal and verify, trackers (no torch)
`imports`      results of others as marked rows: timm, TensorBoard, W&B, CSV and JSON (no torch)
`verdict`      reported numbers, statistics, verdicts, "on track" against the authors' curves (no torch)
`data`         data sets by name, preparation with manifest, sample order as a pure function
`models`       models by name, mostly timm's
`environments` MuJoCo games as vector environments, running normalisers of what they give (no torch)
`optimizers`   optimizers by name, parameter groups, learning-rate schedules
`ppo`          proximal policy optimisation of a batch of seeds: rollouts, advantages, objective
`conformance`  any Adan against a float64 reference, any optimizer against its contract
`training`     the task protocol, the one loop, step, checkpoint, parallel, precision
`tasks`        one module per kind of task
`launch`       plan, local, elastic, worker
`report`       tables of results beside the reported numbers, pages and figures of studies (no torch)
`site`         the same and every run as a static site: pages, charts, comparison of two runs (no torch)
============== =========================================================================================

Experiments themselves are the files of `configs/exp`; what several of them share stands in `configs/exp/families`.
"""
