"""Tables, figures and pages made from finished nodes."""
