"""What others say of their machines: `nvidia-smi`, Kubernetes, hwloc, NCCL, Slurm and the like.

One module a format; all give a `SeenMachine`. Knows files and records; nothing of the catalogue.
"""
