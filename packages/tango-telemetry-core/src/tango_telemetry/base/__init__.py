"""What every room stands on: defects that go no further, threads of the operating system, bounded texts,
warnings.
"""
