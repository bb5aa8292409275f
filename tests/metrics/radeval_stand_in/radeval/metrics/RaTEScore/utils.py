def sentence_split(texts):
    sentences = [sentence for text in texts for sentence in text.split(".") if len(sentence.strip()) > 2]
    return sentences, [1] * len(sentences)
