"""The nearest pages: the FAISS index that follows the store, families of pages, and which pages are the same.

Input: stored features. Output: page ids with cosines, families, and pairs of pages that show the same picture
(`same_page`). The index is derived and can be deleted. Kinds of index, recall and how pages are compared are changed
here without looking elsewhere.

Other rooms use `families`, `inventory`, `near_duplicates`, `page_index`, `projection`, `row_neighbours`,
`same_page.agreement`, `same_page.verification`, `search`, `word_search`.
"""
