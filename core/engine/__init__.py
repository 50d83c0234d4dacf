"""From a call to a backend: the problem, what each way costs, which one runs, dropout, and who watches."""
