"""What a GPU is asked in one command: is everything right, and how fast is it?"""
