"""lm-eval (lm_eval 0.4.13, EleutherAI, MIT) and the harness, in both directions. docs/lm-eval.md tells how to use it.

benchmarks.py which of lm-eval's benchmarks, and where their data is
suite.py      lm-eval's benchmarks as our samples and scores; what tasks/general.py is made of
code.py       benchmarks that run what the model wrote: in our sandbox
replies.py    a chat model's reply as the continuation that lm-eval's scoring expects
documents.py  our tasks as lm-eval's: documents, prompts, results
model.py      any harness model as a model of lm-eval, called `harness`
path.py       the command lm-eval-path
task_files.py the YAML files that lm-eval reads
__main__.py   lm-eval's command line, with our tasks and our model in it

lm_eval is imported where it is used, and only there.
"""
