"""What is expected of annotations, measured and judged by Great Expectations."""
