"""The objective: by which number rows are ranked and hyper-parameters chosen; files of priors and costs."""
