"""How close does each contestant come to the clean image, fitted or classical?"""
