"""What does a step of each objective take, in time and in memory?"""
