"""What verl needs to train on prefixes: data, a reward function, and how a prompt with its own tools is rendered.

`harness export verl` writes the data and a launch file. The rest is used by verl's processes on the cluster, where this
package must be installed beside verl: `reward` by its reward loop, `rollout` (the only module that imports verl) by its
data loader and its agent loop. Written for verl 0.9. docs/verl.md
"""
