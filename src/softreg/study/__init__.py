"""The study: one YAML file, checked, with its matrix of networks and the keys of all that it asks for. No torch.

Start at `config` (`load_study`). `schema` and `strict_yaml` read and check, `matrix` lists groups and training paths,
`cells` says where a network lies, `keys` and `fingerprint` what it depends on. Imports `softreg.own` and the ground.
"""
