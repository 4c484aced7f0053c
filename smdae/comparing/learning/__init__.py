"""How good is each contestant after so many steps?"""
