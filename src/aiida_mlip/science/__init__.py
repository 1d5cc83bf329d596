"""What is true regardless of AiiDA and of any potential: configurations, properties, statistics."""
