"""How much does the gradient of each objective vary from example to example, and what makes it vary less?"""
