"""Living hosts: Postfix as people run it, with all its routes, to show that Postward harms none of them."""
